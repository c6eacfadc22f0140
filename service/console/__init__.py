"""What an operator looks at: walks through the tree, the reach of ads, traffic, figures, and the page itself."""
