from django.urls import path

from deployments import api

urlpatterns = [
    path("deployments", api.DeploymentListView.as_view(), name="api_deployments"),
    path("deployments/<uuid:id>", api.DeploymentView.as_view(), name="api_deployment"),
    path("deployments/<uuid:id>/cancel", api.CancelView.as_view(), name="api_deployment_cancel"),
    path("deployments/<uuid:id>/retry", api.RetryView.as_view(), name="api_deployment_retry"),
    path("deployments/<uuid:id>/rollback", api.RollbackView.as_view(), name="api_deployment_rollback"),
    path("deployments/<uuid:id>/log", api.LogView.as_view(), name="api_deployment_log"),
    path("stacks", api.StackListView.as_view(), name="api_stacks"),
]
