"""The PACS that are known, and studies fetched from them."""
