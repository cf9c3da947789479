"""The process around the gateway: connections, start and stop, reload, health, the page at `/`."""
