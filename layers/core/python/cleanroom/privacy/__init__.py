"""Pure: sensitivities, mechanisms, partition selection, accounting and error bars."""
