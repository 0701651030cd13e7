"""The operator's shell: commands of ``litestar``, registered by the package's entry points."""
