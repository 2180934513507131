"""Who may call: credentials, roles, scopes and rates. Knows neither transport nor store."""
