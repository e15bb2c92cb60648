"""HubSpot's CRM."""
