DROP TABLE quality_reports;
DROP INDEX calls_by_group;
DROP INDEX participants_by_user;
