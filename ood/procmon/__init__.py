"""The process monitor: workers of Node apps, fed with connections and replaced when they die."""
