import os
from urllib.parse import unquote, urlsplit

_url = urlsplit(os.environ["SHOPS_URL"])

SECRET_KEY = "signs nothing here"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django_tenants.postgresql_backend",
        "NAME": _url.path.strip("/"),
        "USER": unquote(_url.username or ""),
        "PASSWORD": unquote(_url.password or ""),
        "HOST": _url.hostname,
        "PORT": _url.port,
        "CONN_MAX_AGE": None,  # connections persist, as Django's documentation advises
    }
}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
MIDDLEWARE = [
    "django_tenants.middleware.main.TenantMainMiddleware",
    "django.middleware.common.CommonMiddleware",
]
SHARED_APPS = ["django_tenants", "django.contrib.contenttypes", "shops"]
TENANT_APPS = ["shops"]
INSTALLED_APPS = SHARED_APPS
TENANT_MODEL = "shops.Shop"
TENANT_DOMAIN_MODEL = "shops.Domain"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
ROOT_URLCONF = "shops.urls"
