"""``python -m exporter`` is ``redis-backup-exporter``."""

from exporter.cli import main

if __name__ == "__main__":
    main()
