"""The tests, by tier: unit, conformance, integration, acceptance."""
