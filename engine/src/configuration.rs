//! What a statement carries through DataFusion beside its settings.

/// Makes a type one that DataFusion's configuration holds as an extension. Nothing of it can be set by name.
macro_rules! in_configuration {
    ($type:ty, $prefix:literal) => {
        impl datafusion::common::config::ConfigExtension for $type {
            const PREFIX: &'static str = $prefix;
        }

        impl datafusion::common::config::ExtensionOptions for $type {
            fn as_any(&self) -> &dyn std::any::Any {
                self
            }

            fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
                self
            }

            fn cloned(&self) -> Box<dyn datafusion::common::config::ExtensionOptions> {
                Box::new(self.clone())
            }

            fn set(&mut self, key: &str, _value: &str) -> datafusion::common::Result<()> {
                Err(datafusion::common::DataFusionError::Configuration(format!("{key} is not a setting")))
            }

            fn entries(&self) -> Vec<datafusion::common::config::ConfigEntry> {
                Vec::new()
            }
        }
    };
}

pub(crate) use in_configuration;
