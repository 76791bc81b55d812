"""What meets the outside: DynamoDB, S3, KMS, SQS, Lambda, Scheduler and DuckDB; and their twins in memory."""
