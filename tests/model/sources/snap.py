"""A made-up `ads.csv.gz`: some ads with every kind of targeting, in the form of the file of snap-ads."""

import csv
import gzip

COLUMNS = [
    "ad_id", "advertiser", "organisation", "spend", "currency", "impressions", "start", "end", "gender", "age",
    "country", "regions_included", "regions_excluded", "districts_included", "districts_excluded", "radius_included",
    "radius_excluded", "metros_included", "metros_excluded", "postal_included", "postal_excluded", "places_included",
    "places_excluded", "interests", "os", "segments", "language", "demographics", "connection", "carrier"]

HARBOUR = "latitude 10.5;longitude -20.25;radius 5.0"
ISLANDS = "latitude 0.0;longitude 179.9;radius 30,latitude 12;longitude -20;radius 2.5"

ADS = [
    {"ad_id": "e5", "age": "18-34", "gender": "FEMALE", "regions_included": "North,South"},
    {"ad_id": "d4", "age": "35++", "regions_excluded": "North", "postal_included": "0012,0034", "os": "IOS"},
    {"ad_id": "c3", "age": "17-", "metros_included": "Port", "radius_included": HARBOUR, "radius_excluded": ISLANDS},
    {"ad_id": "b2", "country": "atlantis", "language": "en,tl", "interests": "Sailors,Divers",
     "demographics": "Occupation (Farming, Fish or Forestry),Household Income ( $125,000-$149,999)"},
    {"ad_id": "a1", "segments": "Provided by Advertiser", "places_excluded": "Airports", "connection": "WIFI"},
    {"ad_id": "f6", "end": "", "organisation": "org2", "currency": "EUR", "spend": "30"},
    {"ad_id": "f7", "end": "2020/01/02 00:00:00Z", "organisation": "org2", "currency": "EUR", "spend": "50"},
    {"ad_id": "f8", "age": "18-34", "gender": "FEMALE", "regions_included": "South,North"},
]


def write_ads(folder, ads=ADS):
    """Writes the file; what an ad does not name has a default or is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    usual = dict.fromkeys(COLUMNS, "") | {
        "advertiser": "adv1", "organisation": "org1", "spend": "10", "currency": "USD", "country": "lemuria",
        "start": "2020/01/01 10:00:00Z", "end": "2020/01/05 01:00:00Z"}
    with gzip.open(folder / "ads.csv.gz", "wt", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(usual | ad for ad in ads)
    return folder
