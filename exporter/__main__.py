"""``python -m exporter`` is ``redis-backup-exporter``."""

if __name__ == "__main__":
    try:
        from exporter.cli import main
    except KeyboardInterrupt:  # Ctrl-C while modules load
        raise SystemExit(130) from None

    main()
