"""What an ad is worth: bids, calibrated probabilities, and the eCPM that they make."""
