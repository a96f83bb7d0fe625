"""From a case to a word: who is judged, who is blamed, what a clause and a level are worth."""
