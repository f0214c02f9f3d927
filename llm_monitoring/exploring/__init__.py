"""The chart explorer: choices become a plan, a plan becomes charts, a chart is shown and its windows are read."""
