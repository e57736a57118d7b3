DROP INDEX participants_by_user;
