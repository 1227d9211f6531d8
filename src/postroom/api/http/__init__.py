"""HTTP/1.1 on a connection, below the application: limits, refusals, and what uvicorn leaves open."""
