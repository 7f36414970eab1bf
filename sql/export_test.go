package sql

// MigrateFS is Migrate with other migrations.
var MigrateFS = migrateTo

// StatementStart is for tests of what error messages point at.
var StatementStart = statementStart
