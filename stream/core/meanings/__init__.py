"""What the KPIs say to people, one module per topic; the catalogue's entries hold it."""
