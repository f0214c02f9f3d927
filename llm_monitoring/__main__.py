"""The command line as `python -m llm_monitoring`, for an environment whose scripts are not on the path."""

from llm_monitoring.cli import main

if __name__ == "__main__":
    main()
