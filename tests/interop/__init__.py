"""The cases: each proves one thing about causeway against peers that others wrote."""
