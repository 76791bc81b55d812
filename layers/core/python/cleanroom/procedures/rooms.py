"""Procedures of the `rooms` function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanroom.edge import Procedure
from cleanroom.use_cases import arguments as a
from cleanroom.use_cases import audit_views, datasets, dp_task, rooms, settings, suggestions, templates

if TYPE_CHECKING:
    from cleanroom.edge import Routes
    from cleanroom.ports import RoomServices

ROOMS: Routes[RoomServices] = {
    ("provider", "cleanroom_init"): Procedure(arguments=a.CleanRoomArguments, call=rooms.cleanroom_init),
    ("provider", "drop_cleanroom"): Procedure(arguments=a.CleanRoomArguments, call=rooms.drop_cleanroom),
    ("provider", "view_cleanrooms"): Procedure(arguments=a.NoArguments, call=rooms.view_cleanrooms),
    ("provider", "describe_cleanroom"): Procedure(arguments=a.CleanRoomArguments, call=rooms.describe_cleanroom),
    ("provider", "create_or_update_cleanroom_listing"): Procedure(
        arguments=a.CleanRoomArguments, call=rooms.create_or_update_cleanroom_listing
    ),
    ("provider", "link_datasets"): Procedure(arguments=a.LinkDatasets, call=datasets.link_provider_datasets),
    ("provider", "suggest_bounds"): Procedure(arguments=a.SuggestBounds, call=suggestions.suggest_provider_bounds),
    ("provider", "unlink_datasets"): Procedure(arguments=a.UnlinkDatasets, call=datasets.unlink_provider_datasets),
    ("provider", "view_provider_datasets"): Procedure(
        arguments=a.CleanRoomArguments, call=datasets.view_provider_datasets
    ),
    ("provider", "set_join_policy"): Procedure(arguments=a.SetColumns, call=datasets.set_join_policy),
    ("provider", "set_column_policy"): Procedure(arguments=a.SetColumns, call=datasets.set_column_policy),
    ("provider", "set_activation_policy"): Procedure(arguments=a.SetColumns, call=datasets.set_activation_policy),
    ("provider", "add_custom_sql_template"): Procedure(
        arguments=a.AddCustomSqlTemplate, call=templates.add_custom_sql_template
    ),
    ("provider", "view_added_templates"): Procedure(
        arguments=a.CleanRoomArguments, call=templates.view_added_templates
    ),
    ("provider", "clear_template"): Procedure(arguments=a.TemplateArguments, call=templates.clear_template),
    ("provider", "add_consumers"): Procedure(arguments=a.AddConsumers, call=rooms.add_consumers),
    ("provider", "remove_consumers"): Procedure(arguments=a.RemoveConsumers, call=rooms.remove_consumers),
    ("provider", "view_consumers"): Procedure(arguments=a.CleanRoomArguments, call=rooms.view_consumers),
    ("provider", "set_privacy_settings"): Procedure(
        arguments=a.SetPrivacySettings, call=settings.set_consumer_settings
    ),
    ("provider", "set_room_budget"): Procedure(arguments=a.SetRoomBudget, call=settings.set_room_budget),
    ("provider", "view_stuck_runs"): Procedure(arguments=a.NoArguments, call=dp_task.view_stuck_runs),
    ("provider", "view_remaining_privacy_budget"): Procedure(
        arguments=a.CleanRoomArguments, call=settings.view_remaining_privacy_budget
    ),
    ("provider", "view_statements"): Procedure(arguments=a.ViewStatements, call=audit_views.view_statements),
    ("provider", "view_audit_log"): Procedure(arguments=a.ViewAuditLog, call=audit_views.view_audit_log),
    ("provider", "is_dp_enabled_on_account"): Procedure(arguments=a.NoArguments, call=dp_task.is_dp_enabled_on_account),
    ("consumer", "view_cleanrooms"): Procedure(arguments=a.NoArguments, call=rooms.view_cleanrooms),
    ("consumer", "install_cleanroom"): Procedure(arguments=a.CleanRoomArguments, call=rooms.install_cleanroom),
    ("consumer", "uninstall_cleanroom"): Procedure(arguments=a.CleanRoomArguments, call=rooms.uninstall_cleanroom),
    ("consumer", "link_datasets"): Procedure(arguments=a.LinkDatasets, call=datasets.link_consumer_datasets),
    ("consumer", "suggest_bounds"): Procedure(arguments=a.SuggestBounds, call=suggestions.suggest_consumer_bounds),
    ("consumer", "unlink_datasets"): Procedure(arguments=a.UnlinkDatasets, call=datasets.unlink_consumer_datasets),
    ("consumer", "view_provider_datasets"): Procedure(
        arguments=a.CleanRoomArguments, call=datasets.view_provider_datasets
    ),
    ("consumer", "view_consumer_datasets"): Procedure(
        arguments=a.CleanRoomArguments, call=datasets.view_consumer_datasets
    ),
    ("consumer", "set_join_policy"): Procedure(arguments=a.SetColumns, call=datasets.set_join_policy),
    ("consumer", "set_column_policy"): Procedure(arguments=a.SetColumns, call=datasets.set_column_policy),
    ("consumer", "view_added_templates"): Procedure(
        arguments=a.CleanRoomArguments, call=templates.view_added_templates
    ),
    ("consumer", "get_arguments_from_template"): Procedure(
        arguments=a.TemplateArguments, call=templates.get_arguments_from_template
    ),
    ("consumer", "view_audit_log"): Procedure(arguments=a.ViewOwnAuditLog, call=audit_views.view_own_audit_log),
    ("consumer", "is_dp_enabled"): Procedure(arguments=a.CleanRoomArguments, call=settings.is_dp_enabled),
    ("consumer", "view_remaining_privacy_budget"): Procedure(
        arguments=a.CleanRoomArguments, call=settings.view_remaining_privacy_budget
    ),
    ("consumer", "set_privacy_settings"): Procedure(
        arguments=a.SetPrivacySettings, call=settings.set_provider_run_settings
    ),
    ("consumer", "enable_templates_for_provider_run"): Procedure(
        arguments=a.EnableTemplatesForProviderRun, call=rooms.enable_templates_for_provider_run
    ),
}
