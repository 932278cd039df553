"""The HTTP side of the ingress: pages, API, socket, and who may use them. Starlette; no Ray."""
