"""The architecture ``camel`` for Cama's native engine."""
