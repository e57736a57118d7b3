DROP INDEX command_results_keyed;
