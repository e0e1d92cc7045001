"""Notifications: programs and webhooks that are told of events."""
