"""Parts of the peft backend: reading an adapter, applying it, and telling whether it takes effect."""
