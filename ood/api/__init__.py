"""The loopback JSON API: resources, authentication, OpenAPI."""
