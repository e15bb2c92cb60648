"""A segment at work: claim, act, record, settle, publish."""
