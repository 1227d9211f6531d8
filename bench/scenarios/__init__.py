"""Further questions to the same harness, each answered by one command: `make bench SCENARIO=name`."""
