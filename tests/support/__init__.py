"""What integration tests share: a running service, its clients, apps from npm."""
