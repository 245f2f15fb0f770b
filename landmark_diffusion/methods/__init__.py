"""The LightningModules: one a method, on a shared base."""
