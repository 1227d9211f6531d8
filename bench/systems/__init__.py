"""The systems that are measured, by name. Each knows how to start itself privately and what it promises."""
