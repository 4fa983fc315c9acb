"""The only room that knows MLflow: it writes finished records to the tracking store and links to them."""
