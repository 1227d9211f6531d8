"""A peer without Celery: the same naive shape on asyncio throughout (taskiq, aio-pika, aiosmtplib, Redis)."""
