"""Wake-ups: the ids of a chunk of emails of one lane, nothing else. All of it may be lost without losing an email."""
