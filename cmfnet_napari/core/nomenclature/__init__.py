"""Names of structures by AAPM TG-263: the table, the rules, and the nearest allowed name."""
