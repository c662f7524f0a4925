"""The Grafana dashboard and what writes it; no part of the exporter."""
