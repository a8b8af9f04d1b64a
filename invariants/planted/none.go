//go:build !(bug_rev_gap || bug_duplicate_command || bug_skip_compare || bug_ignore_lock || bug_complete_twice || bug_stale_order || bug_suspected_is_lost || bug_no_wait || bug_reuse_epoch || bug_activates_target || bug_copy_behind || bug_stop_before_start || bug_ignore_cordon || bug_forget_in_flight || bug_pending_untold || bug_freeze_ignored || bug_no_cooldown || bug_drain_early || bug_labels_twice || bug_chain_cut || bug_epoch_not_written || bug_no_fence || bug_early_start || bug_step_down_lies || bug_raw_newline || bug_prepare_starts || bug_standby_beside) && !bug_ack_unstored && !bug_no_quarantine && !bug_flush_early && !bug_loss_untold && !bug_approval_unasked && !bug_metric_twice && !bug_budget_ignored && !bug_window_ignored && !bug_too_many && !bug_labels_kept && !bug_log_untold

package planted

const name = ""
