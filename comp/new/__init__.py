"""Starting a competition: from a look at its files to the declaration, written as a person would."""
