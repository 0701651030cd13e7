from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Shop(TenantMixin):
    slug = models.TextField(unique=True)

    class Meta:
        db_table = "shops"
        managed = False


class Domain(DomainMixin):
    class Meta:
        db_table = "domains"
        managed = False


class Todo(models.Model):
    title = models.TextField()
    done = models.BooleanField(db_default=False)
    due_at = models.DateTimeField(null=True)
    owner_id = models.IntegerField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "todos"
        managed = False
