"""The pure room: vocabulary, events, budgets and the state machine. No clock, no I/O, no Temporal, no provider."""
