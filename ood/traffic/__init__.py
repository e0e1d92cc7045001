"""What requests the apps get: measured, and written down."""
