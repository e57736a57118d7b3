DROP TABLE sweep_actions;
DROP TABLE sweep_runs;
DROP TABLE sweep_requests;
DROP TABLE sweepers;
