"""The operator's shell: subcommands of ``litestar``, registered through the package's entry points."""
