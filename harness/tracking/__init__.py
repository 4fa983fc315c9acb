"""Write runs to MLflow and link to them. No other room imports mlflow."""
