"""From measurements to alerts: the plan, three layers of rules, one row for each cause."""
