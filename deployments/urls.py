from django.urls import path

from deployments import views

urlpatterns = [
    path("", views.deployment_list, name="deployments"),
    path("new/", views.deploy, name="deploy"),
    path("<int:number>/", views.deployment_detail, name="deployment"),
    path("<uuid:deployment_id>/", views.deployment_by_id, name="deployment_by_id"),
    path("<int:number>/cancel/", views.cancel_deployment, name="cancel_deployment"),
    path("<int:number>/retry/", views.retry_deployment, name="retry_deployment"),
    path("<int:number>/rollback/", views.roll_back_to_deployment, name="roll_back"),
    path("stacks/<slug:stack>/", views.stack_releases, name="stack_releases"),
    path("<int:number>/log/", views.log_download, name="log_download"),
    path("<int:number>/log/lines/", views.log_lines, name="log_lines"),
    path("<int:number>/log/search/", views.log_search, name="log_search"),
]
