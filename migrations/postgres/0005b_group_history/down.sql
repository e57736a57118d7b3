DROP INDEX calls_by_group;
