DROP TABLE daily_sales;
DROP INDEX payments_undecided, outbox_to_be_done;
ALTER TABLE outbox DROP COLUMN priority, DROP COLUMN round, DROP COLUMN failed_at, DROP COLUMN failure;
